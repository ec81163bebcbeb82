"""Archives: many assets inspected by processes that Ray places, one result each, never lost."""

"""Live streams: watched for as long as they last, on as many workers as they need."""

"""What is learned, at inference: nets, weights with model cards, and the runtime that runs them."""

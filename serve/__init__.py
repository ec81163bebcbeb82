"""What answers over a network: the HTTP application and live monitors, on Ray Serve."""

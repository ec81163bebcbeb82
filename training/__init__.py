"""Training: data, nets, calibration, evaluation. One command per model makes its weights anew."""

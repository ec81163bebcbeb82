"""The nets as torch modules: for fitting, for GPUs, and what the graphs for the CPU are made of."""

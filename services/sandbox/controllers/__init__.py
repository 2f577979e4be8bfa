"""The controllers of the simulated cluster: each brings what is closer to what is wanted, whenever something changes."""

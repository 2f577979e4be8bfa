"""A simulated fleet behind real wire protocols on loopback, in a process of its own: Kubernetes API, metrics, tickets."""

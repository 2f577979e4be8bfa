"""The examination of a set-up: one file for each group of checks. It reads, asks and reviews; it changes no cluster."""

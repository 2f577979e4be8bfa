"""Every entry to every sink: at least once, in a minute, whatever fails (R6.3). A process of its own, one a home."""

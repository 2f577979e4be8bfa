"""Where entries are shipped to, one file each behind the Protocols of ``base``."""

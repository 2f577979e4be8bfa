"""How the release on offer behaves, a file each."""

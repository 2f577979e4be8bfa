"""One module a verb. Each is light to import and brings in what it needs when it runs."""

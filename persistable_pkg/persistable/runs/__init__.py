"""Plan and run: the search for missing payloads, and the loop that generates them."""

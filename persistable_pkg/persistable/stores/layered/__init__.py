"""Several stores as one: `LayeredStore`."""

"""How answers get to where they shall go when nobody waits for them."""

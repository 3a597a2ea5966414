"""Lane lines and the road itself in pictures: networks, what they learn from, how good they are."""

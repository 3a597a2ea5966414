"""What happens to a picture between the scene and the file."""

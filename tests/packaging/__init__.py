"""What is shipped: the container recipe and the Debian package."""

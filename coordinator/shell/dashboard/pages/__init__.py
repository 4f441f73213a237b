"""What each page shows, from the same stores and views as the commands."""

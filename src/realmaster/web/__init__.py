"""What people open in a browser: the site of a user study."""

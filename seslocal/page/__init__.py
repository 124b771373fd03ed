"""The page that shows in a browser what was sent."""

"""For the tests of a site."""

"""Choices among candidates, each with the exact probability with which it was made. One mechanism a module."""

"""Attributes: yes or no questions about images, answered by numbers from 0 to 1."""

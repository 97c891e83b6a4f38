"""Common mistakes of the first hour, and what the product says about each of them."""

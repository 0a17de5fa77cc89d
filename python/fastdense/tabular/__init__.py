"""Tables: columns of numbers and of categories, made ready for a net."""

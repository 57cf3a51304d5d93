"""`audit`: a folder by which somebody outside can hold the community to what it did."""

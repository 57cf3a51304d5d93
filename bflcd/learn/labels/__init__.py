"""What follows from the labels of a device's rows: how training and judging keep its common classes from speaking for all."""

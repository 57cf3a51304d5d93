"""`privacy`: what a node's rows may tell, and have told."""

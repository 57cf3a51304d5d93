"""What lives for one round, each of its duties a part: hearing, collecting, judging, agreeing."""

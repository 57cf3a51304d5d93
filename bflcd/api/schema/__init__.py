"""What a node shows of itself: the answers of its API as typed structures, by what they are about.

Identities and hashes are whole lowercase hexadecimal text; times are milliseconds of the Unix clock; shares are 0 to 1; scores
are micro-nats as on the chain. People see them shortened and in other units: that is the control command's business.
"""

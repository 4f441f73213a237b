"""A sum of which the server sees nothing but the sum. Pure: keys and coins come in, messages go out.

The protocol is Bonawitz et al. 2017, "Practical Secure Aggregation for Privacy-Preserving Machine Learning", figure 4,
on the sparse graph of Bell et al. 2020, "Secure Single-Server Aggregation with (Poly)Logarithmic Overhead", so that a
member's cost grows with the logarithm of the members and not with their number.

=========  =======================================================  ====================================================
stage      a member sends                                           the server learns
=========  =======================================================  ====================================================
keys       two public keys                                          who takes part
shares     for each neighbour a sealed share of both its secrets    nothing (sealed to the neighbours)
masked     its vector plus a mask of its own and pairwise masks     a uniformly random vector
reveal     of each neighbour one share: of the own mask's seed      the masks of the sum, and nothing of a single vector
           where it arrived, of the mask key where it vanished
=========  =======================================================  ====================================================

What it holds against: a server that follows the protocol and is curious, together with fewer members than `threshold`
among each one's neighbours. A server that lies about who vanished is refused by members that see it contradict itself;
one that lies about public keys is not found out by this protocol alone (the paper's active variant needs a directory of
keys that the server does not write).
"""

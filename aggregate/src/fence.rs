//! Claim, seal and look: who may write, and who must stop (I1 to I3).

"""The prototype and contour method of Xu et al. (IPMI 2025) and what its authors released."""

"""What outlives one request: vectors given out again, and vectors that must not come twice."""

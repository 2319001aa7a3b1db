//! The store in memory. (to come)

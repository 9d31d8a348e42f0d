//! What only the home of many nodes does.

//! Plans on a world in memory, with agents that do at once what they are asked.
//!
//! - `world`: the world
//! - `cases`: what happens in one situation each
//! - `chance`: what holds whatever happens

mod cases;
mod chance;
mod world;

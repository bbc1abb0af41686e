//! Formulas with worked numbers, properties, and the draw.

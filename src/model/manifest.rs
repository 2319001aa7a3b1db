//! Reading manifests. (placeholder)

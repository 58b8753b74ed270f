//! In-process adapters of the ports that Redis serves between replicas

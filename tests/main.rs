//! The product over HTTP, on both stores: a module per resource.

//! The first words of a connection.

use baton_types::{Features, Hello};

use crate::v1;

impl From<Hello> for v1::Hello {
    fn from(hello: Hello) -> v1::Hello {
        v1::Hello {
            oldest: hello.oldest,
            newest: hello.newest,
            features: hello.features.0,
        }
    }
}

impl From<v1::Hello> for Hello {
    fn from(hello: v1::Hello) -> Hello {
        Hello {
            oldest: hello.oldest,
            newest: hello.newest,
            features: Features(hello.features),
        }
    }
}

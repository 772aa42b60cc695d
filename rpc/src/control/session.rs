//! The first words of a connection, and logins on it.

use std::sync::Arc;

use baton_proto::{into_status, v1};
use baton_security::callers::Answer;
use baton_types::change::Who;
use baton_types::{Error, Hello, Kind};
use tonic::{Request, Response, Status, async_trait};

use super::{Connection, House};

/// Greetings and logins, for whoever has a [`House`].
pub(super) struct Sessions<H>(pub(super) Arc<H>);

#[async_trait]
impl<H: House> v1::session_server::Session for Sessions<H> {
    async fn greet(&self, request: Request<v1::Hello>) -> Result<Response<v1::HelloReply>, Status> {
        let connection = Connection::begun(&request).map_err(|e| into_status(&e))?;
        Hello::OURS
            .agree(request.into_inner().into())
            .map_err(|e| into_status(&e))?;
        connection.greet();
        Ok(Response::new(v1::HelloReply {
            hello: Some(Hello::OURS.into()),
            cell_id: self.0.anchor().id().0.as_bytes().to_vec(),
            cell: self.0.anchor().cell().to_string().into_bytes(),
            member: self.0.name().to_string().into_bytes(),
            applied: self.0.applied(),
        }))
    }

    async fn authenticate(
        &self,
        request: Request<v1::AuthenticateRequest>,
    ) -> Result<Response<v1::AuthenticateReply>, Status> {
        let connection = Connection::of(&request).map_err(|e| into_status(&e))?;
        let ask = request.into_inner();
        let peer = connection.peer.address;
        self.0.offer_as_set();
        // A mechanism may read files or ask somebody: not on a thread that others wait for.
        let login = move || connection.callers.login(&ask.mech, ask.conversation, &ask.token);
        let joined = tokio::task::spawn_blocking(login).await;
        let answer = joined.unwrap_or_else(|e| Err(Error::new(Kind::Io, "login").because(e.to_string())));
        match answer {
            Ok(Answer::Continue { conversation, token }) => Ok(Response::new(v1::AuthenticateReply {
                conversation,
                token,
                ..Default::default()
            })),
            Ok(Answer::Done {
                token,
                caller,
                identity,
                expires,
            }) => {
                tracing::info!(%identity, mech = identity.mech, %peer, "login");
                Ok(Response::new(v1::AuthenticateReply {
                    token,
                    done: true,
                    caller,
                    expires: expires.0,
                    principal: identity.principal.to_string().into_bytes(),
                    ..Default::default()
                }))
            }
            Err(error) => {
                tracing::info!(%error, %peer, "login refused");
                Err(into_status(&error))
            }
        }
    }

    async fn logout(&self, request: Request<v1::LogoutRequest>) -> Result<Response<v1::LogoutReply>, Status> {
        let connection = Connection::of(&request).map_err(|e| into_status(&e))?;
        connection.callers.logout(request.into_inner().caller);
        Ok(Response::new(v1::LogoutReply {}))
    }

    async fn who(&self, request: Request<v1::WhoRequest>) -> Result<Response<v1::WhoReply>, Status> {
        let connection = Connection::of(&request).map_err(|e| into_status(&e))?;
        let caller = request.into_inner().caller;
        let who = self.0.who(&connection, caller).map_err(|e| into_status(&e))?;
        let expires = match connection.callers.find(caller).map_err(|e| into_status(&e))? {
            Some(identity) => identity.expires,
            None => connection
                .callers
                .channel()
                .host
                .as_ref()
                .map(|h| h.validity.not_after)
                .unwrap_or_default(),
        };
        let mech = match &who {
            Who::Nobody | Who::Database => String::new(),
            Who::Principal { mech, .. } => mech.clone(),
            Who::Host { .. } => "host".to_owned(),
        };
        let groups = self.0.groups(&who);
        Ok(Response::new(v1::WhoReply {
            principal: who
                .principal()
                .map(|name| name.to_string().into_bytes())
                .unwrap_or_default(),
            mech,
            expires: expires.0,
            groups: groups.into_iter().map(|group| group.to_string().into_bytes()).collect(),
        }))
    }
}

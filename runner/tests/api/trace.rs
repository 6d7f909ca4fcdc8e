//! The event on the pod.

use http::Method;
use k8s_openapi::api::core::v1::Event;
use kitbag_runner::trace::leave;
use kube::Api;
use serde_json::json;

use crate::script::{Answer, server};

const EVENTS: &str = "/api/v1/namespaces/web/events?";

#[tokio::test]
async fn an_event_that_is_refused_is_only_told() {
    let message =
        r#"events is forbidden: User "jane" cannot create resource "events" in API group "" in the namespace "web""#;
    let made = json!({ "kind": "Event", "apiVersion": "v1", "metadata": { "name": "shop.1" }, "involvedObject": {} });
    let (client, server) = server(vec![
        Answer::new(Method::POST, EVENTS, 201, &made),
        Answer::refused(Method::POST, EVENTS, 403, message),
        Answer::broken(Method::POST, EVENTS),
    ]);
    let events: Api<Event> = Api::namespaced(client, "web");
    assert_eq!(leave(&events, &Event::default()).await, Ok(()));
    let refused = leave(&events, &Event::default()).await.unwrap_err();
    insta::assert_snapshot!(refused, @r#"no event is left on the pod: events is forbidden: User "jane" cannot create resource "events" in API group "" in the namespace "web""#);
    let broken = leave(&events, &Event::default()).await.unwrap_err();
    assert_eq!(broken, "no event is left on the pod: connection refused");
    drop(events);
    server.await.unwrap();
}

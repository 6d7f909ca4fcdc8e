use super::*;
use crate::route::parse;
use crate::testing;

#[test]
fn a_hundred_first_requests_for_one_image_compose_it_once() {
    let dir = tempfile::tempdir().unwrap();
    testing::make(dir.path());
    let metrics = Arc::new(Metrics::default());
    let registry = Arc::new(Registry::open(dir.path(), Arc::clone(&metrics)).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(8).build().unwrap();
    runtime.block_on(async {
        let barrier = Arc::new(tokio::sync::Barrier::new(100));
        let asking: Vec<_> = (0..100)
            .map(|number| {
                let (registry, barrier) = (Arc::clone(&registry), Arc::clone(&barrier));
                // One image, by several names.
                let name = ["strace/dig/sh", "sh/nslookup/strace", "busybox/strace-6.2/dig"][number % 3];
                tokio::spawn(async move {
                    let route = parse(&Method::GET, &format!("/v2/{name}/manifests/latest"), None).unwrap();
                    barrier.wait().await;
                    registry.answer(&route, &Method::GET, &HeaderMap::new()).await.unwrap().into_body()
                })
            })
            .collect();
        let mut bodies = Vec::new();
        for task in asking {
            bodies.push(task.await.unwrap());
        }
        bodies.dedup();
        assert_eq!(bodies.len(), 1);
    });
    assert_eq!((metrics.composed.get(), metrics.cache_hits.get()), (1, 99));
}

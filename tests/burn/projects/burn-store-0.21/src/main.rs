#[path = "../../shared/serve.rs"]
mod serve;
#[path = "../../shared/store.rs"]
mod store;
mod version;

fn main() {
    serve::serve(store::answer);
}

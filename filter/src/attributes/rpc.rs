//! What a gRPC call says of itself. In: the path of its request, `/package.Service/Method`. Out: service and method, for
//! the attributes of OpenTelemetry's conventions for RPC and the name of the span. Refuses any other path: of one that a
//! server does not know, the caller may have made up the name.

use super::{Request, Response};

/// gRPC's `UNIMPLEMENTED`.
const UNKNOWN_METHOD: u32 = 12;

/// Service and method of a gRPC call.
pub(super) fn method(request: &Request) -> Option<(&str, &str)> {
    let (service, method) = request.grpc.then(|| request.url_path())?.strip_prefix('/')?.split_once('/')?;
    (!service.is_empty() && !method.is_empty() && !method.contains('/')).then_some((service, method))
}

/// The span's name, if the server knew the method: `package.Service/Method`.
pub(super) fn name<'a>(request: &'a Request, response: &Response) -> Option<&'a str> {
    let is_known = response.code == 200 && response.grpc_status.is_some_and(|status| status != UNKNOWN_METHOD);
    method(request).filter(|_| is_known).and_then(|_| request.url_path().strip_prefix('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_name_is_one_that_the_server_knew() {
        let call = |path: &str| Request { grpc: true, path: path.into(), ..Request::default() };
        let answer = |code, status| Response { code, grpc_status: status, ..Response::default() };
        let rows = [
            ("/shop.Cart/Add", answer(200, Some(0)), Some("shop.Cart/Add"), "a call"),
            ("/shop.Cart/Add", answer(200, Some(5)), Some("shop.Cart/Add"), "one that failed"),
            ("/shop.Cart/Add", answer(200, Some(12)), None, "a method that there is not"),
            ("/shop.Cart/Add", answer(200, None), None, "no status"),
            ("/shop.Cart/Add", answer(503, Some(14)), None, "no answer of a server"),
            ("/shop.Cart", answer(200, Some(0)), None, "no method"),
            ("/a/b/c", answer(200, Some(0)), None, "a longer path"),
            ("//b", answer(200, Some(0)), None, "no service"),
        ];
        for (path, response, want, reason) in rows {
            assert_eq!(name(&call(path), &response), want, "{reason}");
        }
        let plain = Request { grpc: false, ..call("/shop.Cart/Add") };
        assert_eq!(method(&plain), None, "no gRPC");
    }
}

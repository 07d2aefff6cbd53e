"""Plain HTTP views: the routes of gin's examples, byte for byte as gin answers them."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from google.protobuf import descriptor_pb2, message_factory, text_format

from echo.answers import Json

# What /someProtoBuf sends. The .proto source that a reader compiles:
#
#     syntax = "proto2";
#     package protoexample;
#     message Test {
#       required string label = 1;
#       optional int32 type = 2 [default = 77];
#       repeated int64 reps = 3;
#     }
#
# It is described here and not generated: three fields are not worth a compiler, and a
# generated module refuses to load beside a protobuf that is older than it.
TEST_PROTO = """
name: "protoexample/test.proto" package: "protoexample" syntax: "proto2"
message_type {
  name: "Test"
  field { number: 1 name: "label" type: TYPE_STRING label: LABEL_REQUIRED }
  field { number: 2 name: "type" type: TYPE_INT32 label: LABEL_OPTIONAL default_value: "77" }
  field { number: 3 name: "reps" type: TYPE_INT64 label: LABEL_REPEATED }
}
"""
Test = message_factory.GetMessages(
    [text_format.Parse(TEST_PROTO, descriptor_pb2.FileDescriptorProto())]
)["protoexample.Test"]


@csrf_exempt
@require_safe
async def hello(request: HttpRequest) -> HttpResponse:
    """A greeting, at ``/hello`` and at ``/someJSON``."""
    return Json({"message": "Hello world!"})


@csrf_exempt
@require_safe
async def more_json(request: HttpRequest) -> HttpResponse:
    """A struct of gin's, the capitals of its fields included."""
    return Json({"user": "小王子", "Message": "Hello world!", "Age": 18})


@csrf_exempt
@require_safe
async def some_protobuf(request: HttpRequest) -> HttpResponse:
    """A ``protoexample.Test`` message."""
    message = Test(label="test", reps=[1, 2])
    return HttpResponse(
        message.SerializeToString(), content_type="application/x-protobuf"
    )


@csrf_exempt
@require_safe
async def user_search(request: HttpRequest) -> HttpResponse:
    """The query's username and address, or their defaults."""
    return Json(
        {
            "message": "ok",
            "username": request.GET.get("username", "小王子"),
            "address": request.GET.get("address", ""),
        }
    )

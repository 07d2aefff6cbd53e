"""Plain HTTP views: the routes of gin's examples, with the same bytes."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from google.protobuf import descriptor_pb2, message_factory, text_format

from echo.responses import Utf8Json

# The message of /someProtoBuf, as a .proto source for clients:
#
#     syntax = "proto2";
#     package protoexample;
#     message Test {
#       required string label = 1;
#       optional int32 type = 2 [default = 77];
#       repeated int64 reps = 3;
#     }
#
# Described here and not generated: three fields need no compiler, and a generated module
# does not load with an older protobuf.
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
    """Return a greeting, at ``/hello`` and at ``/someJSON``."""
    return Utf8Json({"message": "Hello world!"})


@csrf_exempt
@require_safe
async def more_json(request: HttpRequest) -> HttpResponse:
    """Return a struct of gin's example, with its capitals."""
    return Utf8Json({"user": "小王子", "Message": "Hello world!", "Age": 18})


@csrf_exempt
@require_safe
async def some_protobuf(request: HttpRequest) -> HttpResponse:
    """Return a ``protoexample.Test`` message."""
    message = Test(label="test", reps=[1, 2])
    return HttpResponse(
        message.SerializeToString(), content_type="application/x-protobuf"
    )


@csrf_exempt
@require_safe
async def user_search(request: HttpRequest) -> HttpResponse:
    """Return the query's username and address, or their defaults."""
    return Utf8Json(
        {
            "message": "ok",
            "username": request.GET.get("username", "小王子"),
            "address": request.GET.get("address", ""),
        }
    )

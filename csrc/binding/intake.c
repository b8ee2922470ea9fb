/* intake.c -- Python objects to base-class arrays.
 *
 * In this order: an ndarray as it is; a subclass as its base; what speaks only DLPack through
 * numpy.from_dlpack, without a copy; everything else as numpy.asarray takes it.
 */
#include "binding.h"

/* Say which argument it was: "key cannot be read as an array: <NumPy's words>", caused by those. */
static void name_error(const char *name)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception) || PyErr_ExceptionMatches(PyExc_MemoryError)) {
        return;
    }
    PyObject *kind = PyErr_ExceptionMatches(PyExc_ValueError) ? PyExc_ValueError : PyExc_TypeError;
    PyObject *type, *cause, *traceback, *error;
    PyErr_Fetch(&type, &cause, &traceback);
    PyErr_NormalizeException(&type, &cause, &traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    PyErr_Format(kind, "%s cannot be read as an array: %S", name, cause);
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    PyException_SetCause(error, cause);
    PyErr_Restore(type, error, traceback);
}

int sa_is_masked(PyObject *object)
{
    PyObject *module = PyImport_ImportModule("numpy.ma");
    PyObject *masked = module == NULL ? NULL : PyObject_GetAttrString(module, "MaskedArray");
    const int is_masked = masked == NULL ? -1 : PyObject_IsInstance(object, masked);
    Py_XDECREF(masked);
    Py_XDECREF(module);
    return is_masked;
}

/* A subclass as its base; a masked array's mask would be lost on the way. */
static PyArrayObject *take_subclass(PyObject *object, const char *name)
{
    const int is_masked = sa_is_masked(object);
    if (is_masked == 0) {
        return (PyArrayObject *)PyArray_EnsureArray(Py_NewRef(object));
    }
    if (is_masked == 1) {
        PyErr_Format(PyExc_TypeError,
                     "%s is a MaskedArray, whose mask would be lost: pass %s.data, or "
                     "%s.filled(...).astype(float), and what to hide as mask=",
                     name, name, name);
    }
    return NULL;
}

/* DLPack's device types (DLDeviceType in dlpack.h) whose memory is not the host's. */
static const char *device_name(long type)
{
    switch (type) {
    case 2:
        return "CUDA";
    case 4:
        return "OpenCL";
    case 7:
        return "Vulkan";
    case 8:
        return "Metal";
    case 10:
        return "ROCm";
    case 14:
        return "oneAPI";
    default:
        return "DLPack";
    }
}

/* kDLCPU, and the pinned host memory of CUDA and ROCm. */
static bool is_host(long type) { return type == 1 || type == 3 || type == 11; }

static int refuse_device(PyObject *object, const char *name)
{
    PyObject *device = PyObject_CallMethod(object, "__dlpack_device__", NULL);
    PyObject *first = device == NULL ? NULL : PySequence_GetItem(device, 0);
    const long type = first == NULL ? -1 : PyLong_AsLong(first);
    if (type == -1 && PyErr_Occurred()) {
        name_error(name);
    } else if (!is_host(type)) {
        PyErr_Format(PyExc_TypeError,
                     "%s is on a %s device (__dlpack_device__() is %R), and attention runs on the "
                     "CPU: copy it to the host first",
                     name, device_name(type), device);
    }
    Py_XDECREF(first);
    Py_XDECREF(device);
    return PyErr_Occurred() ? -1 : 0;
}

/* 1 or 0; -1 if asking failed, where PyObject_HasAttrString would say no. */
static int has_attribute(PyObject *object, const char *name)
{
    PyObject *attribute = PyObject_GetAttrString(object, name);
    if (attribute == NULL && !PyErr_ExceptionMatches(PyExc_AttributeError)) {
        return -1;
    }
    PyErr_Clear();
    Py_XDECREF(attribute);
    return attribute != NULL;
}

/* 1, 0 or -1 */
static int speaks_only_dlpack(PyObject *object)
{
    static const char *const names[] = {"__dlpack__", "__dlpack_device__", "__array_interface__",
                                        "__array_struct__"};
    if (PyObject_CheckBuffer(object)) {
        return 0;
    }
    for (int i = 0; i < 4; i++) {
        const int found = has_attribute(object, names[i]);
        if (found != (i < 2)) {
            return found < 0 ? -1 : 0;
        }
    }
    return 1;
}

/* DLPack cannot carry all that __array__ can (bfloat16, for one), so that is the second try. */
static PyObject *from_dlpack(PyObject *object)
{
    const int has_array = has_attribute(object, "__array__");
    PyObject *numpy = has_array < 0 ? NULL : PyImport_ImportModule("numpy");
    PyObject *array = numpy == NULL ? NULL : PyObject_CallMethod(numpy, "from_dlpack", "O", object);
    Py_XDECREF(numpy);
    if (array == NULL && has_array == 1 && PyErr_ExceptionMatches(PyExc_Exception)) {
        PyErr_Clear();
        array = PyArray_FromAny(object, NULL, 0, 0, NPY_ARRAY_ENSUREARRAY, NULL);
    }
    return array;
}

PyArrayObject *sa_take_array(PyObject *object, const char *name)
{
    if (PyArray_CheckExact(object)) {
        return (PyArrayObject *)Py_NewRef(object);
    }
    if (PyArray_Check(object)) {
        return take_subclass(object, name);
    }
    if (object == Py_None) {
        PyErr_Format(PyExc_TypeError, "%s must be an array, not None", name);
        return NULL;
    }
    PyObject *array = NULL;
    const int is_dlpack = speaks_only_dlpack(object);
    if (is_dlpack == 1) {
        if (refuse_device(object, name) < 0) {
            return NULL;
        }
        array = from_dlpack(object);
    } else if (is_dlpack == 0) {
        array = PyArray_FromAny(object, NULL, 0, 0, NPY_ARRAY_ENSUREARRAY, NULL);
    }
    if (array == NULL) {
        name_error(name);
    }
    return (PyArrayObject *)array;
}

/* dtypes.c -- NumPy's types and the core's names for them.
 *
 * bfloat16 is no type of NumPy's own but a user type, usually of ml_dtypes. Its type number is
 * whatever was free when it was registered, so it is recognised by its name and size, once.
 */
#include "binding.h"

#include <stdatomic.h>

/* The type number under which bfloat16 was met; NPY_NOTYPE: not yet. */
static atomic_int bfloat16_number = NPY_NOTYPE;

static bool is_bfloat16(PyArray_Descr *descr)
{
    const int number = descr->type_num;
    if (number < NPY_USERDEF) {
        return false;
    }
    if (number == atomic_load(&bfloat16_number)) {
        return true;
    }
    PyObject *name = PyType_GetName(descr->typeobj);
    const bool found = name != NULL && PyDataType_ELSIZE(descr) == 2 &&
                       PyUnicode_CompareWithASCIIString(name, "bfloat16") == 0;
    Py_XDECREF(name);
    PyErr_Clear();
    if (found) {
        atomic_store(&bfloat16_number, number);
    }
    return found;
}

int sa_classify_dtype(PyArray_Descr *descr)
{
    switch (descr->type_num) {
    case NPY_BOOL:
        return SA_BOOL;
    case NPY_HALF:
        return SA_F16;
    case NPY_FLOAT:
        return SA_F32;
    case NPY_DOUBLE:
        return SA_F64;
    default:
        return is_bfloat16(descr) ? (int)SA_BF16 : -1;
    }
}

PyArray_Descr *sa_new_descr(sa_dtype dtype)
{
    switch (dtype) {
    case SA_BOOL:
        return PyArray_DescrFromType(NPY_BOOL);
    case SA_F16:
        return PyArray_DescrFromType(NPY_HALF);
    case SA_BF16:
        return PyArray_DescrFromType(atomic_load(&bfloat16_number));
    case SA_F32:
        return PyArray_DescrFromType(NPY_FLOAT);
    case SA_F64:
        return PyArray_DescrFromType(NPY_DOUBLE);
    case SA_I64:
        break;
    }
    return PyArray_DescrFromType(NPY_INT64);
}

ptrdiff_t sa_itemsize(sa_dtype dtype)
{
    static const unsigned char sizes[] = {
        [SA_BOOL] = 1, [SA_F16] = 2, [SA_BF16] = 2, [SA_F32] = 4, [SA_F64] = 8, [SA_I64] = 8,
    };
    return sizes[dtype];
}
